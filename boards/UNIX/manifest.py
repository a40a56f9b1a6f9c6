# Frozen build of MicroPython's unix port, its own modules and ours: docs/frozen-build.md
include("$(PORT_DIR)/variants/standard/manifest.py")
include("../manifest.py", board="UNIX")
