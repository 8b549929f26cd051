package proxmox

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Firewall is a guest's own firewall, as Proxmox VE keeps it beside the guest's
// configuration.
type Firewall struct {
	Options map[string]string            `json:"options,omitempty"`
	Rules   []map[string]string          `json:"rules,omitempty"`   // in their order
	Aliases map[string]string            `json:"aliases,omitempty"` // network by name
	Sets    map[string]map[string]string `json:"sets,omitempty"`    // of each IP set: "1" where an entry is left out, by network
}

// Empty says whether there is none.
func (f Firewall) Empty() bool {
	return len(f.Options)+len(f.Rules)+len(f.Aliases)+len(f.Sets) == 0
}

// Same says whether two firewalls are alike.
func (f Firewall) Same(other Firewall) bool {
	return f.Empty() && other.Empty() || reflect.DeepEqual(f.whole(), other.whole())
}

// whole has no nil in it, so that it can be compared.
func (f Firewall) whole() Firewall {
	out := Firewall{Options: map[string]string{}, Aliases: map[string]string{}, Sets: map[string]map[string]string{}, Rules: append([]map[string]string{}, f.Rules...)}
	maps.Copy(out.Options, f.Options)
	maps.Copy(out.Aliases, f.Aliases)
	for name, set := range f.Sets {
		out.Sets[name] = maps.Clone(set)
		if set == nil {
			out.Sets[name] = map[string]string{}
		}
	}
	return out
}

// incidental are fields of an answer that say nothing of the firewall itself.
var incidental = []string{"digest", "pos", "ipversion"}

// settings are the fields of an answer as text, without what is incidental.
func settings(row map[string]text) map[string]string {
	out := map[string]string{}
	for key, value := range row {
		if !slices.Contains(incidental, key) && value != "" {
			out[key] = string(value)
		}
	}
	return out
}

// Firewall reads a guest's firewall. It needs VM.Audit on the guest.
func (c *Client) Firewall(ctx context.Context, vmid int) (f Firewall, err error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return f, err
	}
	base := row.path() + "/firewall"
	var options map[string]text
	var rules, aliases, sets rows[map[string]text]
	for path, into := range map[string]any{"/options": &options, "/rules": &rules, "/aliases": &aliases, "/ipset": &sets} {
		if err := c.reading.get(ctx, base+path, into); err != nil {
			return f, fmt.Errorf("reading the firewall of guest %d: %w", vmid, err)
		}
	}
	f = Firewall{Options: settings(options), Aliases: map[string]string{}, Sets: map[string]map[string]string{}}
	slices.SortFunc(rules.all, func(a, b map[string]text) int { return position(a) - position(b) })
	for _, r := range rules.all {
		f.Rules = append(f.Rules, settings(r))
	}
	for _, a := range aliases.all {
		f.Aliases[string(a["name"])] = string(a["cidr"])
	}
	for _, s := range sets.all {
		name := string(s["name"])
		var entries rows[map[string]text]
		if err := c.reading.get(ctx, base+"/ipset/"+url.PathEscape(name), &entries); err != nil {
			return f, fmt.Errorf("reading the firewall of guest %d: IP set %s: %w", vmid, name, err)
		}
		f.Sets[name] = map[string]string{}
		for _, e := range entries.all {
			f.Sets[name][string(e["cidr"])] = string(e["nomatch"])
		}
	}
	return f, nil
}

func position(r map[string]text) int {
	n, err := strconv.Atoi(string(r["pos"]))
	if err != nil {
		return 1 << 30
	}
	return n
}

// SetFirewall makes a guest's firewall the one given: what is there goes first. It
// may be done again after it broke off. It needs VM.Config.Network on the guest.
func (c *Client) SetFirewall(ctx context.Context, vmid int, want Firewall) error {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return err
	}
	now, err := c.Firewall(ctx, vmid)
	if err != nil || now.Same(want) {
		return err
	}
	base := row.path() + "/firewall"
	call := func(method, path string, body map[string]any) {
		if err != nil {
			return
		}
		var nothing text
		if failed := c.acting.do(ctx, method, base+path, body, &nothing); failed != nil {
			err = fmt.Errorf("changing the firewall of guest %d: %w", vmid, failed)
		}
	}
	for i := len(now.Rules) - 1; i >= 0; i-- {
		call(http.MethodDelete, "/rules/"+strconv.Itoa(i), nil)
	}
	for _, name := range slices.Sorted(maps.Keys(now.Sets)) {
		call(http.MethodDelete, "/ipset/"+url.PathEscape(name)+"?force=1", nil)
	}
	for _, name := range slices.Sorted(maps.Keys(now.Aliases)) {
		call(http.MethodDelete, "/aliases/"+url.PathEscape(name), nil)
	}
	for _, name := range slices.Sorted(maps.Keys(want.Aliases)) {
		call(http.MethodPost, "/aliases", map[string]any{"name": name, "cidr": want.Aliases[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(want.Sets)) {
		call(http.MethodPost, "/ipset", map[string]any{"name": name})
		for _, cidr := range slices.Sorted(maps.Keys(want.Sets[name])) {
			entry := map[string]any{"cidr": cidr}
			if truth(want.Sets[name][cidr]) {
				entry["nomatch"] = 1
			}
			call(http.MethodPost, "/ipset/"+url.PathEscape(name), entry)
		}
	}
	for _, r := range slices.Backward(want.Rules) { // each new one comes before all others
		call(http.MethodPost, "/rules", anyOf(r))
	}
	options := anyOf(want.Options)
	var gone []string
	for name := range now.Options {
		if want.Options[name] == "" {
			gone = append(gone, name)
		}
	}
	if slices.Sort(gone); len(gone) > 0 {
		options["delete"] = strings.Join(gone, ",")
	}
	if len(options) > 0 {
		call(http.MethodPut, "/options", options)
	}
	return err
}

func anyOf(values map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range values {
		out[key] = value
	}
	return out
}
