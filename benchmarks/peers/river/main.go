// River on PostgreSQL.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"taskmill.dev/benchmarks/peers/gopeer"
)

const (
	connections = 32
	fetch       = 5 * time.Millisecond
	fetchFew    = time.Millisecond // 十个一取，隔五毫秒就最多两千个一秒
	few         = 50
)

type args struct{ gopeer.Args }

func (args) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[args]
	tally gopeer.Tally
}

func (w *worker) Work(_ context.Context, job *river.Job[args]) error {
	w.tally.Mark(job.Args.N)
	return nil
}

type peer struct {
	pool    *pgxpool.Pool
	tally   gopeer.Tally
	workers *river.Workers
}

func open(n int) *peer {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(gopeer.DatabaseURL())
	gopeer.Must(err)
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	gopeer.Must(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	gopeer.Must(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	gopeer.Must(err)
	opened := &peer{pool, gopeer.OpenTally(n), river.NewWorkers()}
	river.AddWorker(opened.workers, &worker{tally: opened.tally})
	return opened
}

func (p *peer) client(concurrency int) *river.Client[pgx.Tx] {
	pause := fetch
	if concurrency < few {
		pause = fetchFew
	}
	queue := river.QueueConfig{MaxWorkers: concurrency, FetchCooldown: pause, FetchPollInterval: pause}
	client, err := river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: queue}, Workers: p.workers, JobTimeout: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	gopeer.Must(err)
	return client
}

func (p *peer) held() (count int) {
	query := "select count(*) from river_job where state <> 'completed'"
	gopeer.Must(p.pool.QueryRow(context.Background(), query).Scan(&count))
	return count
}

func (p *peer) batch(client *river.Client[pgx.Tx], n int) float64 {
	return gopeer.Batches(n, func(first, end int) {
		params := make([]river.InsertManyParams, 0, end-first)
		for i := first; i < end; i++ {
			params = append(params, river.InsertManyParams{Args: args{gopeer.Numbered(i)}})
		}
		_, err := client.InsertManyFast(context.Background(), params)
		gopeer.Must(err)
	})
}

func single(n, concurrency int) (float64, int) {
	p := open(n)
	client := p.client(concurrency)
	seconds := gopeer.Single(n, func(i int) {
		_, err := client.Insert(context.Background(), args{gopeer.Numbered(i)}, nil)
		gopeer.Must(err)
	})
	return seconds, p.held()
}

func batch(n, concurrency int) (float64, int) {
	p := open(n)
	seconds := p.batch(p.client(concurrency), n)
	return seconds, p.held()
}

func drain(n, concurrency int) (float64, int) {
	p, ctx := open(n), context.Background()
	client := p.client(concurrency)
	p.batch(client, n)
	_, err := p.pool.Exec(ctx, "analyze")
	gopeer.Must(err)
	began := time.Now()
	gopeer.Must(client.Start(ctx))
	seconds, held := gopeer.Drained(began, p.tally, p.held)
	gopeer.Must(client.Stop(ctx))
	return seconds, held
}

func main() {
	gopeer.Answer(map[string]any{
		"system": "River", "store": "postgresql", "durable": "PostgreSQL",
		"tuned": "fetch cooldown and poll 5 ms (1 ms at concurrency 10), 32 connections, no job timeout, batches by InsertManyFast; statistics taken after the submit",
	}, "github.com/riverqueue/river", map[string]gopeer.Measure{"single": single, "batch": batch, "drain": drain})
}
