package pg

import (
	"fmt"
	"os"
	"testing"
	"time"

	"cairn/internal/secret"
)

// BenchmarkSurveyOf100Databases is the survey of a server with 100 databases and
// 10,000 tables over a kept connection: it locks and scans none of them.
func BenchmarkSurveyOf100Databases(b *testing.B) {
	c := running(b)
	c.sql(b, "postgres", "CREATE DATABASE many_0")
	c.sql(b, "many_0", "DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT g AS x FROM generate_series(1, 10) g', i); END LOOP; END $$")
	for i := 1; i < 100; i++ {
		c.sql(b, "postgres", fmt.Sprintf("CREATE DATABASE many_%d TEMPLATE many_0", i))
	}
	b.Cleanup(func() {
		for i := range 100 {
			c.sql(b, "postgres", fmt.Sprintf("DROP DATABASE many_%d", i))
		}
	})
	survey := func(client *Client) {
		if f, err := client.Survey(b.Context()); err != nil || len(f.Server.Value.Databases) < 103 {
			b.Fatal(err)
		}
	}
	open := func() *Client { return New("lab", Config{DSN: c.dsn("")}, secret.Reader{Getenv: os.Getenv}) }
	first := time.Hour
	for range 3 { // each over a connection of its own, with every size asked
		client := open()
		began := time.Now()
		survey(client)
		first = min(first, time.Since(began))
		client.Close()
	}
	client := open()
	defer client.Close()
	survey(client)
	for b.Loop() {
		survey(client)
	}
	b.ReportMetric(first.Seconds()*1000, "first-ms")
}
