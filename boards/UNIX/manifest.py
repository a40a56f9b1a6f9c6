# Frozen build of MicroPython's unix port: make FROZEN_MANIFEST=<this file>. Frozen code costs no heap.
include("$(PORT_DIR)/variants/standard/manifest.py")
package("upeer", base_path="../../firmware", opt=2)
package("device", base_path="../../firmware", opt=2)
