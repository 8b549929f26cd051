package disk

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Bridges are the types through which SMART was read, as a person had them detected,
// by the USB bridge: "0bda:9210:012345678".
type Bridges map[string]string

// BridgesKey is the name under which Bridges are remembered.
const BridgesKey = "smart bridges"

// Learn tells the client which types were detected. A configured one counts more.
func (c *Client) Learn(b Bridges) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bridges = maps.Clone(b)
}

// bridgeOf names the USB device at a port, such as "2-1", by vendor, product and
// serial number, as sysfs below root tells them; empty: there is none.
func bridgeOf(root, port string) string {
	if port == "" {
		return ""
	}
	var parts []string
	for _, name := range []string{"idVendor", "idProduct", "serial"} {
		text, err := os.ReadFile(filepath.Join(root, "bus/usb/devices", port, name))
		if err != nil && name != "serial" { // some have none
			return ""
		}
		parts = append(parts, strings.TrimSpace(string(text)))
	}
	return strings.Join(parts, ":")
}
