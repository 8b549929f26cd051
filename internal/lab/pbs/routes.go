package pbs

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	ofSnapshot = "ns backup-type backup-id backup-time"
	ofTasks    = "start limit store running errors userfilter since until typefilter statusfilter"
	ofPrune    = "ns max-depth dry-run keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly"
)

// routes is the whole API: method, path, the parameters it takes.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	at := func(pattern, params string, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+apiRoot+path, s.serve(params, h))
	}
	at("GET /ping", "", ping)
	at("GET /version", "", version)
	at("GET /access/permissions", "auth-id path", permissions)
	at("GET /status/datastore-usage", "", storesUsage)
	at("GET /admin/datastore", "", listStores)
	at("GET /admin/datastore/{store}/status", "verbose", storeStatus)
	at("GET /admin/datastore/{store}/namespace", "parent max-depth", listNamespaces)
	at("GET /admin/datastore/{store}/groups", "ns", listGroups)
	at("GET /admin/datastore/{store}/snapshots", "ns backup-type backup-id", listSnapshots)
	at("DELETE /admin/datastore/{store}/snapshots", ofSnapshot, deleteSnapshot)
	at("GET /admin/datastore/{store}/protected", ofSnapshot, getProtected)
	at("PUT /admin/datastore/{store}/protected", ofSnapshot+" protected", setProtected)
	at("GET /admin/datastore/{store}/notes", ofSnapshot, getNotes)
	at("PUT /admin/datastore/{store}/notes", ofSnapshot+" notes", setNotes)
	at("GET /admin/datastore/{store}/gc", "", gcStatus)
	at("POST /admin/datastore/{store}/gc", "", startGC)
	at("POST /admin/datastore/{store}/verify", ofSnapshot+" ignore-verified outdated-after max-depth", startVerify)
	at("POST /admin/datastore/{store}/prune-datastore", ofPrune, startPrune)
	at("POST /admin/datastore/{store}/mount", "", mountStore)
	at("POST /admin/datastore/{store}/unmount", "", unmountStore)
	at("GET /config/datastore/{store}", "", configuredStore)
	at("PUT /config/datastore/{store}", "maintenance-mode comment gc-schedule delete digest", configureStore)
	at("GET /admin/gc", "", listGC)
	at("GET /admin/verify", "store", listJobs(Verify))
	at("GET /admin/prune", "store", listJobs(Prune))
	at("GET /admin/sync", "store sync-direction", listJobs(Sync))
	at("POST /admin/verify/{id}/run", "", runJob(Verify))
	at("POST /admin/prune/{id}/run", "", runJob(Prune))
	at("POST /admin/sync/{id}/run", "", runJob(Sync))
	at("POST /config/verify", ofJob+" ignore-verified outdated-after", createJob(Verify))
	at("POST /config/prune", ofJob+" disable keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly", createJob(Prune))
	at("POST /config/sync", ofJob+" remote remote-store remote-ns sync-direction remove-vanished run-on-mount owner", createJob(Sync))
	for _, kind := range []string{Prune, Sync} {
		at("GET /config/"+kind+"/{id}", "", readJob(kind))
		at("PUT /config/"+kind+"/{id}", changeOf[kind].set+" delete digest", changeJob(kind))
	}
	at("GET /nodes/{node}/tasks", ofTasks, listTasks)
	at("GET /nodes/{node}/tasks/{upid}/status", "", taskStatus)
	at("GET /nodes/{node}/tasks/{upid}/log", "start limit test-status download", taskLog)
	at("DELETE /nodes/{node}/tasks/{upid}", "", stopTask)
	at("GET /nodes/{node}/disks/list", "skipsmart usage-type include-partitions", listDisks)
	// Also for a known path with another method.
	fallback := s.serve("", nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			fallback(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Say adds a line to the task's log.
func (t *Task) Say(at time.Time, format string, args ...any) {
	t.Log = append(t.Log, at.Format(time.RFC3339)+": "+fmt.Sprintf(format, args...))
}

func rfc3339(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
