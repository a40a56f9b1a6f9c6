"""Images onto chips: esptool, recipes, ports."""
