package pbs

import (
	"strings"
)

const ofJob = "id store ns schedule comment max-depth"

// createJob makes a job of one kind, as it is configured.
func createJob(kind string) handler {
	return func(c *call) (any, error) {
		needed := []string{"id", "store"}
		if kind == Prune {
			needed = append(needed, "schedule")
		}
		if kind == Sync {
			needed = append(needed, "remote-store")
		}
		if err := c.required(needed...); err != nil {
			return nil, err
		}
		store := c.params["store"]
		// The kind of job says which privilege it takes to make one.
		if !c.may(storePath(store, c.params["ns"]), map[string]string{Verify: "Datastore.Verify", Prune: modify, Sync: backup}[kind]) {
			return nil, denied()
		}
		if c.Store(store) == nil {
			return nil, bad("datastore '%s' does not exist.", store)
		}
		for _, j := range c.Jobs {
			if j.Kind == kind && j.ID == c.params["id"] {
				return nil, bad("job '%s' already exists.", j.ID)
			}
		}
		j := &Job{Kind: kind, ID: c.params["id"], Store: store, NS: c.params["ns"], Schedule: c.params["schedule"], Comment: c.params["comment"],
			Disable: c.truth("disable"), IgnoreVerified: c.truth("ignore-verified"), Remote: c.params["remote"], RemoteStore: c.params["remote-store"],
			Direction: c.params["sync-direction"], Owner: c.params["owner"], RemoveVanished: c.truth("remove-vanished"), RunOnMount: c.truth("run-on-mount")}
		outdated, err := c.number("outdated-after", 0, 0)
		if err != nil {
			return nil, err
		}
		j.OutdatedAfter = int(outdated)
		for name := range c.params {
			if !strings.HasPrefix(name, "keep-") {
				continue
			}
			n, err := c.number(name, 0, 1)
			if err != nil {
				return nil, err
			}
			if j.Keep == nil {
				j.Keep = map[string]int{}
			}
			j.Keep[name] = int(n)
		}
		if j.Schedule != "" {
			j.NextRun = c.now().Unix() + 24*60*60
		}
		c.Jobs = append(c.Jobs, j)
		return nil, nil
	}
}
