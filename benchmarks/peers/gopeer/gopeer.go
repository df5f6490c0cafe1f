// Package gopeer is the contract of contract.py for drivers in Go.
package gopeer

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	callers = 32
	batch   = 1000
	poll    = 10 * time.Millisecond
)

// Args are what every task carries.
type Args struct {
	To      string `json:"to"`
	N       int    `json:"n"`
	Subject string `json:"subject"`
}

// Numbered returns the args of task n.
func Numbered(n int) Args { return Args{"user@example.com", n, "hello world"} }

// Measure runs one measure; it returns the seconds and what the store holds that is not done.
type Measure func(n, concurrency int) (float64, int)

// DatabaseURL and BrokerURL are an empty database and an empty Valkey.
func DatabaseURL() string { return os.Getenv("PEER_DATABASE_URL") }
func BrokerURL() string   { return os.Getenv("PEER_BROKER_URL") }

// Answer answers the command line.
func Answer(about map[string]any, module string, measures map[string]Measure) {
	name := os.Args[1]
	if name == "about" {
		about["versions"] = map[string]string{module: version(module)}
		names := []string{}
		for _, each := range []string{"single", "batch", "drain"} {
			if measures[each] != nil {
				names = append(names, each)
			}
		}
		about["measures"] = names
		about["share"] = 1.0
		say(about)
		return
	}
	n, concurrency := number(os.Args[2]), number(os.Args[3])
	seconds, held := measures[name](n, concurrency)
	say(map[string]any{"measure": name, "n": n, "seconds": seconds, "held": held})
}

// Must ends the driver when there is an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Single submits tasks 0 to n - 1 from 32 goroutines.
func Single(n int, submit func(n int)) float64 { return spread(n, callers, submit) }

// Batches submits 1,000 tasks a call, two calls at a time: from first up to, not including, end.
func Batches(n int, submit func(first, end int)) float64 {
	return spread((n+batch-1)/batch, 2, func(i int) { submit(i*batch, min(n, (i+1)*batch)) })
}

// Tally is a byte per task, shared with the caller.
type Tally []byte

// OpenTally maps the file that the caller made.
func OpenTally(n int) Tally {
	file, err := os.OpenFile(os.Getenv("PEER_TALLY"), os.O_RDWR, 0)
	Must(err)
	bytes, err := syscall.Mmap(int(file.Fd()), 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	Must(err)
	return bytes
}

// Mark says that task n ran.
func (tally Tally) Mark(n int) { tally[n] = 1 }

func (tally Tally) full() bool {
	for _, mark := range tally {
		if mark == 0 {
			return false
		}
	}
	return true
}

// Drained waits until all tasks ran and the store holds none; it returns the seconds since began.
func Drained(began time.Time, tally Tally, held func() int) (float64, int) {
	for !tally.full() || held() > 0 {
		time.Sleep(poll)
	}
	return time.Since(began).Seconds(), held()
}

func spread(n, workers int, work func(i int)) float64 {
	var next atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	group.Wait()
	return time.Since(began).Seconds()
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	Must(err)
	return value
}

func say(what map[string]any) {
	Must(json.NewEncoder(os.Stdout).Encode(what))
}

func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, each := range info.Deps {
		if each.Path == module {
			return each.Version
		}
	}
	return "unknown"
}
