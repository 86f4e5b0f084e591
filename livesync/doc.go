// Package livesync knows what Self-hosted LiveSync, the sync plugin of Obsidian, expects of its server: the keys that a device signs its
// tokens with, the names of vaults' databases, and the Setup URIs that configure a device.
//
// A device is set up in three steps:
//
//	private, public, err := livesync.GenerateKey("ES512")   // or an app password, which every path of the client takes
//	settings := livesync.NewSettings(livesync.Connection{…}, passphrase)
//	uri, err := livesync.Encode(settings, livesync.URIPassphrase())
//
// and livesync.QRCode makes a picture of the URI for a phone to look at. [Decode] is the way back, for a further device of the same vault:
// all devices of a vault share one passphrase of the vault, which the server never learns.
//
// The formats are those of LiveSync 1.0, which writes and reads them through its library octagonal-wheels.
package livesync
