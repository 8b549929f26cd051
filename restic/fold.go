package restic

import "bytes"

// folded says whether a name holds text, whatever the case. Half a million names
// are looked through with each key that is typed, so plain text is not copied.
func folded(text string) func(name []byte) bool {
	want := bytes.ToLower([]byte(text))
	for _, b := range want {
		if b >= 0x80 {
			return func(name []byte) bool { return bytes.Contains(bytes.ToLower(name), want) }
		}
	}
	if len(want) == 0 {
		return func([]byte) bool { return true }
	}
	return func(name []byte) bool {
		for i := 0; i+len(want) <= len(name); i++ {
			if lower(name[i]) == want[0] && begins(name[i:], want) {
				return true
			}
		}
		return false
	}
}

func begins(name, want []byte) bool {
	for i, b := range want {
		if lower(name[i]) != b {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}
