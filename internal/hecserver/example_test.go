package hecserver_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"aiwatch/internal/hecserver"
)

// A receiver that is busy once, after it has taken one event of two.
func Example() {
	faults, err := hecserver.NewFaults(1, hecserver.Fault{Code: hecserver.ServerBusy, Commit: 1, Named: true, Times: 1})
	if err != nil {
		log.Fatal(err)
	}
	counter := hecserver.NewCounter()
	server, err := hecserver.Start("127.0.0.1:0", nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: "secret"}},
		Sink:   counter,
		Faults: faults,
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		req, err := http.NewRequest(http.MethodPost, server.URL()+"/services/collector/event",
			strings.NewReader(`{"event":{"event_id":"a"}}{"event":{"event_id":"b"}}`))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Splunk secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(answer))
	}
	http.DefaultClient.CloseIdleConnections()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("a came", counter.Times("a"), "times, b", counter.Times("b"))
	// Output:
	// 503 {"text":"Server is busy","code":9,"invalid-event-number":1}
	// 200 {"text":"Success","code":0}
	// a came 2 times, b 1
}
