package runbook

func hypervisorLoss() Scenario {
	return Scenario{
		Name: "hypervisor-loss", What: "A hypervisor is gone", Method: "a new Proxmox VE, then its guests by priority", Asks: AtNode,
	}
}

func backupHostLoss() Scenario {
	return Scenario{
		Name: "backup-host-loss", What: "This backup host is gone, its disk is left", Method: "PBS on a new host, over the disk that is left",
	}
}
