package pve

import (
	"encoding/base64"
	"slices"
	"strings"
)

// tree is what file-restore shows of a backup: each archive, and in it one file with
// the disk's content. A VM's disk has partitions before its files.
func (i Image) tree() map[string]string {
	files := map[string]string{}
	for key, disk := range i.Disks {
		if i.Kind == LXC {
			files["/root.pxar.didx/srv/"+key+".txt"] = disk.Content
		} else {
			files["/drive-"+key+".img.fidx/part/1/srv/"+key+".txt"] = disk.Content
		}
	}
	return files
}

// inBackup is the backup and the path in it that a call names.
func (s *Server) inBackup(c *call) (files map[string]string, path string, err error) {
	if err := s.reading(c, c.volumeID()); err != nil {
		return nil, "", err
	}
	if st := s.storage(c.get("storage")); st == nil || st.Type != "pbs" {
		return nil, "", invalid("storage", "Only PBS storages supported for file-restore.")
	}
	image, err := s.image(c.volumeID())
	if err != nil {
		return nil, "", err
	}
	path = "/"
	if text := c.get("filepath"); text != "/" {
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, "", fail("proxmox-file-restore failed: Error: error running command: failed to decode path: %s", err)
		}
		path = string(plain)
	}
	return image.tree(), "/" + strings.Trim(path, "/"), nil
}

func (s *Server) fileRestore(c *call) (any, error) {
	files, path, err := s.inBackup(c)
	if err != nil {
		return nil, err
	}
	prefix := strings.TrimSuffix(path, "/") + "/"
	seen := map[string]object{}
	for name, content := range files {
		rest, below := strings.CutPrefix(name, prefix)
		if !below {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		row := object{"filepath": base64.StdEncoding.EncodeToString([]byte(prefix + first)), "text": first, "type": "d", "leaf": 0}
		switch {
		case !deeper:
			row["type"], row["leaf"], row["size"], row["mtime"] = "f", 1, len(content), s.now().Unix()
		case path == "/":
			row["type"] = "v"
		}
		seen[first] = row
	}
	if len(seen) == 0 && path != "/" {
		return nil, fail("proxmox-file-restore failed: Error: no such file or directory")
	}
	rows := rowsOf(len(seen))
	for _, row := range seen {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b object) int { return strings.Compare(a["text"].(string), b["text"].(string)) })
	return rows, nil
}

func (s *Server) fileDownload(c *call) (any, error) {
	files, path, err := s.inBackup(c)
	if err != nil {
		return nil, err
	}
	content, ok := files[path]
	if !ok {
		return nil, fail("proxmox-file-restore failed: Error: no such file or directory")
	}
	c.text = &answer{status: 200, reason: "OK", body: []byte(content), header: map[string]string{"Content-Type": "application/octet-stream", "Content-Disposition": `attachment; filename="` + path[strings.LastIndex(path, "/")+1:] + `"`}}
	return nil, nil
}
