import time


def wait_for_a_friend():
    time.sleep(1000)


wait_for_a_friend()
