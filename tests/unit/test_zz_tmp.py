"""the fixture itself must be able to fail"""
import os, subprocess, sys, time
from tests.leftovers import leaves_nothing
from blendtorch.wire.owned_folder import make_folder
KEEP = []
def test_own():
    KEEP.append(make_folder("/dev/shm"))
def test_child_killed():
    p = subprocess.Popen([sys.executable, "-c", "import time\nfrom blendtorch.wire.owned_folder import make_folder\nf=make_folder('/dev/shm')\nprint(1, flush=True)\ntime.sleep(99)"], stdout=subprocess.PIPE)
    p.stdout.readline(); time.sleep(0.4); p.kill(); p.wait()
def test_good():
    f = make_folder("/dev/shm"); time.sleep(0.2); f.close()
