# Frozen build of MicroPython's esp32 port, its own modules and ours: docs/frozen-build.md
include("$(PORT_DIR)/boards/manifest.py")
include("../manifest.py", board="ESP32_GENERIC")
