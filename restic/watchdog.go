package restic

import (
	"errors"
	"sync"
	"time"
)

// eagerly is how many requests may fail before an eager call gives up. restic
// waits longer each time: four take about six seconds.
const eagerly = 4

var errPatience = errors.New("a server that does not answer")

// watchdog ends a restic that tries again in vain. restic itself goes on for 15
// minutes, and also where the server refuses, which no time mends.
type watchdog struct {
	eager    bool
	patience time.Duration // 0: no limit
	bite     func()

	mu     sync.Mutex
	failed int         // requests, since data moved
	denied int         // of these
	timer  *time.Timer // runs since the first of them
	done   bool
}

// retry notes that a request failed and will be tried again.
func (w *watchdog) retry(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed++
	if kind := classify(0, why); kind == Denied || kind == Full {
		w.denied++
	}
	if w.eager && w.failed >= eagerly || w.patience > 0 && w.denied >= eagerly {
		w.bite()
		return
	}
	if w.patience > 0 && w.timer == nil && !w.done {
		w.timer = time.AfterFunc(w.patience, w.bite)
	}
}

// moved notes that data moved: what failed before was overcome.
func (w *watchdog) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed, w.denied = 0, 0
	w.stop()
}

// rest ends the watch.
func (w *watchdog) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	w.stop()
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// lines is what takes the standard output of a call; nil: it is collected.
func (what call) lines(dog *watchdog) func([]byte) {
	if what.moved == nil {
		return what.stdout
	}
	return func(line []byte) {
		if what.moved(line) {
			dog.moved()
		}
	}
}
