from blendtorch import btb

def broken(:
