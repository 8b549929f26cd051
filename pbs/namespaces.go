package pbs

import (
	"fmt"
	"slices"
	"strings"
)

// CheckNamespace returns what is wrong with a configured namespace: "" is the
// root, "lab" that one alone, "lab/**" lab and all below, "**" all.
func CheckNamespace(pattern string) error {
	base, below := strings.CutSuffix(pattern, "/**")
	switch {
	case pattern == "" || pattern == "**":
		return nil
	case below && base == "":
		return fmt.Errorf(`namespace %q: write "**" for all`, pattern)
	case strings.Contains(base, "*"):
		return fmt.Errorf(`namespace %q: only "/**" at its end is understood, as in "lab/**"`, pattern)
	}
	for part := range strings.SplitSeq(base, "/") {
		if part == "" {
			return fmt.Errorf("namespace %q has an empty part: write it like lab/nodes, with no slash at either end", pattern)
		}
	}
	return nil
}

func matches(pattern, namespace string) bool {
	if base, below := strings.CutSuffix(pattern, "/**"); below {
		return namespace == base || strings.HasPrefix(namespace, base+"/")
	}
	return pattern == "**" || pattern == namespace
}

// choose returns which of the namespaces that exist the patterns name, sorted,
// and the patterns that name none of them. No pattern at all means all.
func choose(patterns, existing []string) (chosen, missing []string) {
	if len(patterns) == 0 {
		patterns = []string{"**"}
	}
	for _, p := range patterns {
		hit := false
		for _, ns := range existing {
			if matches(p, ns) {
				chosen, hit = append(chosen, ns), true
			}
		}
		if !hit {
			missing = append(missing, p)
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), missing
}

// namespaceName names a namespace for a person.
func namespaceName(ns string) string {
	if ns == "" {
		return "the root namespace"
	}
	return "namespace " + ns
}
