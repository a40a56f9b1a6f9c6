# Frozen build of MicroPython's esp32 port: make BOARD=... FROZEN_MANIFEST=<this file>. Frozen code costs no heap.
include("$(PORT_DIR)/boards/manifest.py")
package("upeer", base_path="../../firmware", opt=2)
package("device", base_path="../../firmware", opt=2)
