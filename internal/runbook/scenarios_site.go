package runbook

func usbLoss() Scenario {
	return Scenario{
		Name: "usb-loss", What: "The disk with the copies is gone", Method: "a new disk, the datastore from the cloud copy, seeded again", Asks: AtDisk,
	}
}

func siteLoss() Scenario {
	return Scenario{
		Name: "site-loss", What: "Everything at home is gone", Method: "from the off-site copy, guest by guest",
	}
}

func ransomware() Scenario {
	return Scenario{
		Name: "ransomware", What: "Somebody encrypts or deletes, copies too", Method: "a point before it, isolated, from the copy that cannot be deleted from here",
	}
}
