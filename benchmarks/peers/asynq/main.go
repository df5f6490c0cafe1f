// Asynq on Redis.
package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hibiken/asynq"
	"taskmill.dev/benchmarks/peers/gopeer"
)

const queue = "default"

func connection() asynq.RedisClientOpt {
	parsed, err := asynq.ParseRedisURI(gopeer.BrokerURL())
	gopeer.Must(err)
	options := parsed.(asynq.RedisClientOpt)
	options.PoolSize = 64
	return options
}

func held() int {
	inspector := asynq.NewInspector(connection())
	defer inspector.Close()
	info, err := inspector.GetQueueInfo(queue)
	gopeer.Must(err)
	return info.Size // 完成而保留的不在其中；这里不保留
}

func single(n, _ int) (float64, int) {
	client := asynq.NewClient(connection())
	defer client.Close()
	seconds := gopeer.Single(n, func(i int) {
		payload, err := json.Marshal(gopeer.Numbered(i))
		gopeer.Must(err)
		_, err = client.Enqueue(asynq.NewTask("noop", payload))
		gopeer.Must(err)
	})
	return seconds, held()
}

func drain(n, concurrency int) (float64, int) {
	tally := gopeer.OpenTally(n)
	single(n, concurrency)
	mux := asynq.NewServeMux()
	mux.HandleFunc("noop", func(_ context.Context, task *asynq.Task) error {
		var args gopeer.Args
		if err := json.Unmarshal(task.Payload(), &args); err != nil {
			return err
		}
		tally.Mark(args.N)
		return nil
	})
	server := asynq.NewServer(connection(), asynq.Config{Concurrency: concurrency, LogLevel: asynq.ErrorLevel})
	began := time.Now()
	gopeer.Must(server.Start(mux))
	seconds, left := gopeer.Drained(began, tally, held)
	server.Shutdown()
	return seconds, left
}

func main() {
	gopeer.Answer(map[string]any{
		"system": "Asynq", "store": "redis", "durable": "lists in Valkey, acknowledged after the task",
		"tuned": "64 connections, one queue",
	}, "github.com/hibiken/asynq", map[string]gopeer.Measure{"single": single, "drain": drain})
}
