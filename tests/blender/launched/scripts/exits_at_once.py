import sys

print("I do not want to run")
sys.exit(3)
