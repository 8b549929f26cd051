package pve

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is a running API server. Its state changes only while mu is held: a
// call holds it until it has answered, a task gives it up between its steps.
type Server struct {
	*front

	mu sync.Mutex
	directory
	inventory
	taskList
	clock
	quorum bool

	zips     sync.Pool // of writers that pack answers
	replicas []Replica
	done     chan struct{} // closed by Stop
	work     sync.WaitGroup
}

// directory is who may do what.
type directory struct {
	users    []User
	roles    map[string][]string
	acl      []ACL
	pools    map[string][]int
	comments map[string]string // of pools
	all      map[string]int    // what root@pam has
}

// inventory is what the cluster consists of.
type inventory struct {
	version  string
	cluster  string
	nodes    []*node
	storages []*storage
	guests   map[int]*guest
	volumes  map[string]*volume  // by volume id
	archives map[string]*archive // by volume id
	jobs     []Job
	ha       map[string]string
	backups  func(server, datastore string) BackupStore
	lockFile map[int]chan struct{} // one token each: who takes it holds the lock file
}

type clock struct {
	now  func() time.Time
	zone *time.Location
	pace Pace
}

type node struct {
	Node
	booted time.Time
	down   *failure // what its calls end with; nil: it answers
	bare   bool     // only a directory of guest configurations, no member
}

// Start makes the world and serves it on a port of 127.0.0.1.
func Start(w World) (*Server, error) {
	if len(w.Nodes) == 0 {
		return nil, fmt.Errorf("a world needs a node")
	}
	s := &Server{quorum: true, done: make(chan struct{})}
	s.setClock(w)
	s.setDirectory(w)
	if err := s.setInventory(w); err != nil {
		return nil, err
	}
	f, err := listen(s.serve, s.names(), s.zoneNow)
	if err != nil {
		return nil, err
	}
	s.front = f
	return s, nil
}

// Stop closes the port, drops every connection and kills the running tasks.
func (s *Server) Stop() {
	close(s.done)
	s.front.close()
	s.work.Wait()
}

func (s *Server) setClock(w World) {
	s.clock = clock{now: w.Now, zone: w.Location, pace: w.Pace}
	if s.now == nil {
		s.now = time.Now
	}
	if s.zone == nil {
		s.zone = time.UTC
	}
	if s.pace.Lock == 0 {
		s.pace.Lock = 10 * time.Second
	}
}

func (s *Server) setDirectory(w World) {
	s.version = w.Version
	if s.version == "" {
		s.version = "8.4.21"
	}
	s.users, s.acl = append([]User(nil), w.Users...), append([]ACL(nil), w.ACL...)
	if !hasUser(s.users, "root@pam") {
		s.users = append(s.users, User{ID: "root@pam"})
	}
	s.roles = builtinRoles(s.major())
	s.all = s.role("Administrator", 1)
	for name, privs := range w.Roles {
		s.roles[name] = privs
	}
	s.pools, s.comments = map[string][]int{}, map[string]string{}
	for name, members := range w.Pools {
		s.pools[name] = append([]int(nil), members...)
	}
}

func hasUser(users []User, id string) bool {
	for _, u := range users {
		if u.ID == id {
			return true
		}
	}
	return false
}

func (s *Server) setInventory(w World) error {
	s.cluster, s.jobs = w.Cluster, append([]Job(nil), w.Jobs...)
	s.guests, s.volumes = map[int]*guest{}, map[string]*volume{}
	s.archives, s.lockFile = map[string]*archive{}, map[int]chan struct{}{}
	s.ha, s.backups = map[string]string{}, w.Backups
	for id, state := range w.HA {
		s.ha[id] = state
	}
	for _, n := range w.Nodes {
		made := &node{Node: n, booted: s.now().Add(-time.Hour)}
		if n.Memory == 0 {
			made.Memory = 32 << 30
		}
		if n.IP == "" {
			made.IP = "192.0.2." + strconv.Itoa(len(s.nodes)+2)
		}
		if n.Offline {
			made.down = &failure{status: 595, text: "No route to host"}
		}
		s.nodes = append(s.nodes, made)
	}
	for _, st := range w.Storages {
		s.storages = append(s.storages, newStorage(st))
	}
	for _, g := range w.Guests {
		if err := s.addGuest(g); err != nil {
			return fmt.Errorf("guest %d: %w", g.VMID, err)
		}
	}
	for _, a := range w.Archives {
		if err := s.addArchive(a); err != nil {
			return fmt.Errorf("archive of %d on %s: %w", a.Image.VMID, a.Storage, err)
		}
	}
	return nil
}

func (s *Server) names() []string {
	var all []string
	for _, n := range s.nodes {
		all = append(all, n.Name)
	}
	return all
}

// major is the version's first number.
func (s *Server) major() int {
	m, _, _ := strings.Cut(s.version, ".")
	return number(m)
}

// release is "8.4" of "8.4.21".
func (s *Server) release() string {
	parts := strings.SplitN(s.version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func (s *Server) zoneNow() time.Time { return s.now().In(s.zone) }

func (s *Server) local() *node { return s.nodes[0] }

func (s *Server) node(name string) *node {
	for _, n := range s.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// number is the integer that text begins to be; 0 when it is none.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// secret is a random text for tickets and the like.
func (s *Server) secret() string { return hexText(32) }

func hexText(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[rand.IntN(16)]
	}
	return string(b)
}

// uuid is a random UUID (version 4).
func uuid() string {
	h := []byte(hexText(32))
	h[12], h[16] = '4', "89ab"[rand.IntN(4)]
	t := string(h)
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}
