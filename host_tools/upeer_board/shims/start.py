# What the chip does before boot.py: mount the flash, set the import path; then boot.py and main.py.
import os
import sys

import vfs

_folder = os.getenv("UPEER_BOARD")
vfs.mount(vfs.VfsPosix(_folder + "/state/shims"), "/.shims")
sys.path[:] = ["/.shims", ".frozen"]
import _host

_host.folder = vfs.VfsPosix(_folder)
_host.path = _folder
for _name in ("time", "_heap", "esp32", "machine", "socket", "network", "_terminal", "_boot"):
    __import__(_name)
if os.getenv("UPEER_CHIP_TIMING"):
    __import__("_timing").start()
vfs.umount("/.shims")
vfs.umount("/")
sys.path[:] = ["", ".frozen", "/lib"]
sys.argv[:] = []
import _boot

del _folder, _host, _name, os, sys, vfs
_boot.start(globals())
