package pve

// opens says whether the node has the key of a backup; empty: it is not encrypted.
func (st *storage) opens(b *Stored) error {
	switch {
	case b.Encrypted == "", b.Encrypted == "1" && st.EncryptionKey != "", b.Encrypted == st.EncryptionKey:
		return nil
	case st.EncryptionKey == "":
		return fail("%s: missing key - manifest was created with key %s", st.ID, b.Encrypted)
	}
	return fail("%s: wrong key - manifest's key %s does not match provided key %s", st.ID, b.Encrypted, st.EncryptionKey)
}
