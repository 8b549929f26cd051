package repository

import "testing"

// What a swap says of the place that is live must be true where nothing is there.
func TestWhatASwapSays(t *testing.T) {
	for _, c := range []struct {
		kept, emptied []string
		want          string
	}{
		{[]string{"/beside"}, nil, "nothing: what is there now stays at /beside"},
		{nil, nil, "nothing: nothing is there now"},
		{nil, []string{"/live"}, "nothing will be at /live any more, as before; what was restored is kept beside"},
	} {
		if got := swapLoss(c.kept, c.emptied); got != c.want {
			t.Errorf("%v, %v: %q, want %q", c.kept, c.emptied, got, c.want)
		}
	}
	for want, a := range map[string]swapArgs{
		"it is there again; nothing was at /live":                        {Live: "/live", Beside: "/beside", LiveID: gone, BesideID: "1:2"},
		"nothing is at /live any more; what was there is now at /beside": {Live: "/live", Beside: "/beside", LiveID: "1:2", BesideID: gone},
		"what was there is now at /beside":                               {Live: "/live", Beside: "/beside", LiveID: "1:2", BesideID: "1:3"},
	} {
		if got := a.said(); got != want {
			t.Errorf("%+v: %q, want %q", a, got, want)
		}
	}
}
