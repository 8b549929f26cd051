package pg

import (
	"context"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// tracker adds up how far the copying of tables is, from the lines that pg_dump
// and pg_restore print and from pg_stat_progress_copy.
type tracker struct {
	work  Work
	unit  string
	total int64
	last  chan struct{} // closed when all tables are begun but the lastPart

	nearly sync.Once // closes last

	saying sync.Mutex
	mu     sync.Mutex
	weight map[string]int64 // of each table, by SCHEMA.NAME
	begun  map[string]int   // and at which look it was begun
	toCome int64            // weight of those that are not begun
	active map[string]int64 // what is being copied now, and how much of it is done
	looks  int
}

func newTracker(tables []DumpedTable, weight func(DumpedTable) int64, unit string, w Work) *tracker {
	t := &tracker{work: w, unit: unit, last: make(chan struct{}), weight: map[string]int64{}, begun: map[string]int{}, active: map[string]int64{}}
	for _, table := range tables {
		n := max(0, weight(table))
		t.weight[table.Schema+"."+table.Name] = n
		t.total += n
	}
	t.toCome = t.total
	return t
}

// lastPart of the weight of all tables is what is dumped in about the time that
// counting the rows of all takes.
const lastPart = 32

// verboseLine matches what is worth saying of what the tools print; only the
// first two tell that the rows of a table are on their way.
var verboseLine = regexp.MustCompile(`(dumping contents of|processing data for|creating) (?:table|INDEX|CONSTRAINT|FK CONSTRAINT|MATERIALIZED VIEW DATA) "(.*)"$`)

// line takes a line of pg_dump --verbose or pg_restore --verbose.
func (t *tracker) line(text []byte) {
	m := verboseLine.FindSubmatch(text)
	if m == nil {
		return
	}
	t.mu.Lock()
	name := string(m[2])
	if _, known := t.weight[name]; known && string(m[1]) != "creating" {
		if _, again := t.begun[name]; !again {
			if t.toCome -= t.weight[name]; t.toCome <= t.total/lastPart {
				t.nearly.Do(func() { close(t.last) })
			}
		}
		t.begun[name] = t.looks
	}
	t.mu.Unlock()
	t.tell(string(t.clean(text)))
}

// clean cuts "pg_dump: " off.
func (t *tracker) clean(text []byte) []byte {
	for i, b := range text {
		if b == ':' && i+2 < len(text) {
			return text[i+2:]
		}
	}
	return text
}

// saw takes what pg_stat_progress_copy showed at one look.
func (t *tracker) saw(active map[string]int64) {
	t.mu.Lock()
	t.active = active
	t.looks++
	t.mu.Unlock()
	t.tell("")
}

func (t *tracker) tell(line string) {
	t.mu.Lock()
	var done int64
	for name, at := range t.begun {
		if now, running := t.active[name]; running {
			done += min(now, t.weight[name])
		} else if t.looks > at+1 { // it was not there at two looks after it was begun: it is done
			done += t.weight[name]
		}
	}
	t.mu.Unlock()
	t.saying.Lock() // who is told need not expect two at once
	defer t.saying.Unlock()
	t.work.tell(Progress{Done: done, Total: t.total, Unit: t.unit, Line: line})
}

const lookEvery = 500 * time.Millisecond

// watchCopies asks the server how far the copies in a database are, until ctx
// ends. That it cannot be asked (before version 14, or no connection is left)
// costs nothing but the view. The channel is closed when it has ended.
func (c *Client) watchCopies(ctx context.Context, database, application string, t *tracker) <-chan struct{} {
	column := "tuples_processed"
	if t.unit == "bytes" {
		column = "bytes_processed"
	}
	return async(func() {
		conn, err := c.server.connect(ctx, database)
		if err != nil {
			return
		}
		defer shut(ctx, conn)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			active := map[string]int64{}
			found, err := conn.Query(ctx, `SELECT n.nspname || '.' || r.relname, p.`+column+`
				FROM pg_stat_progress_copy p JOIN pg_class r ON r.oid = p.relid JOIN pg_namespace n ON n.oid = r.relnamespace
				JOIN pg_stat_activity a ON a.pid = p.pid WHERE p.datname = current_database() AND a.application_name = $1`, application)
			if err != nil {
				return
			}
			var name string
			var done int64
			if _, err := pgx.ForEachRow(found, []any{&name, &done}, func() error { active[name] = done; return nil }); err != nil {
				return
			}
			t.saw(active)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}
