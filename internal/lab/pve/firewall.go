package pve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// firewall is a guest's own: what /etc/pve/firewall/VMID.fw holds.
type firewall struct {
	Options map[string]string              `json:"options,omitempty"`
	Rules   []map[string]string            `json:"rules,omitempty"`
	Aliases map[string]string              `json:"aliases,omitempty"` // CIDR by name
	Sets    map[string][]map[string]string `json:"sets,omitempty"`    // entries by name of the set
}

func (f firewall) text() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // maps of texts
	}
	if string(text) == "{}" {
		return ""
	}
	return string(text)
}

// parseFirewall reads what text wrote; a backup without one holds none.
func parseFirewall(text string) (f firewall) {
	if json.Unmarshal([]byte(text), &f) != nil {
		return firewall{}
	}
	return f
}

const (
	ruleProperties     = "type?:enum=in|out|forward|group action? enable?:int>=0 macro? iface? source? dest? proto? sport? dport? log? icmp-type? comment? digest? pos?:int>=0"
	firewallProperties = "enable?:bool macfilter?:bool dhcp?:bool ndp?:bool radv?:bool ipfilter?:bool policy_in?:enum=ACCEPT|REJECT|DROP policy_out?:enum=ACCEPT|REJECT|DROP log_level_in? log_level_out?"
)

func firewallRoutes() []route {
	var all []route
	for _, kind := range []string{"qemu", "lxc"} {
		base := "/nodes/{node}/" + kind + "/{vmid}/firewall"
		audit, network := "/vms/{vmid} VM.Audit", "/vms/{vmid} VM.Config.Network"
		all = append(all,
			route{method: "GET", path: base + "/options", perm: audit, params: "node vmid", handler: (*Server).firewallOptions},
			route{method: "PUT", path: base + "/options", perm: network, flags: "forward", params: "node vmid delete? digest? " + firewallProperties, handler: (*Server).setFirewallOptions},
			route{method: "GET", path: base + "/rules", perm: audit, params: "node vmid", handler: (*Server).firewallRules},
			route{method: "POST", path: base + "/rules", perm: network, flags: "forward", params: "node vmid " + ruleProperties, handler: (*Server).addFirewallRule},
			route{method: "DELETE", path: base + "/rules/{pos}", perm: network, flags: "forward", params: "node vmid pos digest?", handler: (*Server).removeFirewallRule},
			route{method: "GET", path: base + "/aliases", perm: audit, params: "node vmid", handler: (*Server).firewallAliases},
			route{method: "POST", path: base + "/aliases", perm: network, flags: "forward", params: "node vmid name cidr comment?", handler: (*Server).addFirewallAlias},
			route{method: "DELETE", path: base + "/aliases/{name}", perm: network, flags: "forward", params: "node vmid name digest?", handler: (*Server).removeFirewallAlias},
			route{method: "GET", path: base + "/ipset", perm: audit, params: "node vmid", handler: (*Server).firewallSets},
			route{method: "POST", path: base + "/ipset", perm: network, flags: "forward", params: "node vmid name comment? digest? rename?", handler: (*Server).addFirewallSet},
			route{method: "GET", path: base + "/ipset/{name}", perm: audit, params: "node vmid name", handler: (*Server).firewallSet},
			route{method: "POST", path: base + "/ipset/{name}", perm: network, flags: "forward", params: "node vmid name cidr comment? nomatch?:bool", handler: (*Server).addToFirewallSet},
			route{method: "DELETE", path: base + "/ipset/{name}", perm: network, flags: "forward", params: "node vmid name force?:bool", handler: (*Server).removeFirewallSet},
		)
	}
	return all
}

// wall is the firewall of the guest that a call is about.
func (s *Server) wall(c *call) (*firewall, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	f := &g.firewall
	if f.Options == nil {
		f.Options = map[string]string{}
	}
	if f.Aliases == nil {
		f.Aliases = map[string]string{}
	}
	if f.Sets == nil {
		f.Sets = map[string][]map[string]string{}
	}
	return f, nil
}

func (f *firewall) digest() string { return digestOf(f.text()) }

func (s *Server) firewallOptions(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	row := object{"digest": f.digest()}
	for key, value := range f.Options {
		if row[key] = value; value == "0" || value == "1" {
			row[key] = number(value)
		}
	}
	return row, nil
}

func (s *Server) setFirewallOptions(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	for name := range c.given {
		if name != "delete" && name != "digest" && name != "node" && name != "vmid" {
			f.Options[name] = c.get(name)
		}
	}
	for _, key := range splitList(c.get("delete")) {
		delete(f.Options, key)
	}
	return nil, nil
}

func (s *Server) firewallRules(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(len(f.Rules))
	for i, r := range f.Rules {
		row := object{"pos": i, "digest": f.digest()}
		for key, value := range r {
			row[key] = value
		}
		row["enable"] = number(r["enable"])
		rows = append(rows, row)
	}
	return rows, nil
}

// addFirewallRule puts a new rule before all others, not enabled unless it says so.
func (s *Server) addFirewallRule(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	r := map[string]string{"enable": "0"}
	for name := range c.given {
		if name != "digest" && name != "pos" && name != "node" && name != "vmid" {
			r[name] = c.get(name)
		}
	}
	for _, name := range []string{"type", "action"} {
		if r[name] == "" {
			return nil, invalid(name, "property is missing and it is not optional")
		}
	}
	for _, at := range []string{"source", "dest"} {
		if name, set := strings.CutPrefix(r[at], "+"); set && f.Sets[name] == nil {
			return nil, invalid(at, fmt.Sprintf("no such ipset '%s'", name))
		}
	}
	f.Rules = append([]map[string]string{r}, f.Rules...)
	return nil, nil
}

func (s *Server) removeFirewallRule(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	pos := number(c.get("pos"))
	if pos < 0 || pos >= len(f.Rules) {
		return nil, fail("no rule at position %d", pos)
	}
	f.Rules = slices.Delete(f.Rules, pos, pos+1)
	return nil, nil
}

func (s *Server) firewallAliases(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(len(f.Aliases))
	for name, cidr := range f.Aliases {
		rows = append(rows, object{"name": name, "cidr": cidr, "digest": f.digest()})
	}
	return shuffled(rows), nil
}

func (s *Server) addFirewallAlias(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	if f.Aliases[c.get("name")] != "" {
		return nil, invalid("name", fmt.Sprintf("alias '%s' already exists", c.get("name")))
	}
	f.Aliases[c.get("name")] = c.get("cidr")
	return nil, nil
}

func (s *Server) removeFirewallAlias(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	delete(f.Aliases, c.get("name"))
	return nil, nil
}

func (s *Server) firewallSets(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(len(f.Sets))
	for name := range maps.Keys(f.Sets) {
		rows = append(rows, object{"name": name, "digest": f.digest()})
	}
	return shuffled(rows), nil
}

func (s *Server) addFirewallSet(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	if f.Sets[c.get("name")] != nil {
		return nil, invalid("name", fmt.Sprintf("IPSet '%s' already exists", c.get("name")))
	}
	f.Sets[c.get("name")] = []map[string]string{}
	return nil, nil
}

func (s *Server) firewallSet(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	set, ok := f.Sets[c.get("name")]
	if !ok {
		return nil, fail("no such IPSet '%s'", c.get("name"))
	}
	rows := rowsOf(len(set))
	for _, e := range set {
		row := object{"cidr": e["cidr"], "digest": f.digest()}
		if e["nomatch"] != "" {
			row["nomatch"] = number(e["nomatch"])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (s *Server) addToFirewallSet(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	name := c.get("name")
	if f.Sets[name] == nil {
		return nil, fail("no such IPSet '%s'", name)
	}
	e := map[string]string{"cidr": c.get("cidr")}
	if c.flag("nomatch") {
		e["nomatch"] = "1"
	}
	f.Sets[name] = append([]map[string]string{e}, f.Sets[name]...)
	return nil, nil
}

func (s *Server) removeFirewallSet(c *call) (any, error) {
	f, err := s.wall(c)
	if err != nil {
		return nil, err
	}
	name := c.get("name")
	if len(f.Sets[name]) > 0 && !c.flag("force") {
		return nil, fail("IPSet '%s' is not empty", name)
	}
	delete(f.Sets, name)
	return nil, nil
}

// Firewall is a guest's firewall, past the API: its rules in order, each as
// "key=value …", and its options.
func (s *Server) Firewall(vmid int) (rules []string, options map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil {
		return nil, nil
	}
	for _, r := range g.firewall.Rules {
		var parts []string
		for key, value := range r {
			parts = append(parts, key+"="+value)
		}
		slices.Sort(parts)
		rules = append(rules, strings.Join(parts, " "))
	}
	return rules, maps.Clone(g.firewall.Options)
}
