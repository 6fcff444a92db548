// SPDX-License-Identifier: Apache-2.0

// client SOCKET N SECONDS: N calls by grpc-go in 16 at a time, some with a deadline that passes, some that are
// cancelled, some that fail; then one call of SECONDS during which only pings are sent. client.py does the same by
// grpcio. What came of them is counted on stdout, as JSON: {"KIND": {"CODE": n}}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Messages as they are on the wire.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte(nil), data...); return nil }
func (raw) Name() string                       { return "proto" }

var kinds = []string{"quick", "deadline", "cancel", "error", "in time"}

func request(id string) []byte {
	return append(append([]byte{0x0a, byte(len(id))}, id...), 0x12, 2, '/', 's')
}

func call(ctx context.Context, connection *grpc.ClientConn, id string) string {
	asked, answer := request(id), []byte{}
	err := connection.Invoke(ctx, "/csi.v1.Node/NodeUnstageVolume", &asked, &answer, grpc.ForceCodec(raw{}))
	return status.Code(err).String()
}

func one(connection *grpc.ClientConn, kind string) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch kind {
	case "deadline":
		ctx, done := context.WithTimeout(ctx, 5*time.Millisecond)
		defer done()
		return call(ctx, connection, "sleep-600000")
	case "cancel":
		time.AfterFunc(5*time.Millisecond, cancel)
		return call(ctx, connection, "sleep-600000")
	case "error":
		return call(ctx, connection, "error-2")
	case "in time":
		ctx, done := context.WithTimeout(ctx, time.Hour)
		defer done()
		return call(ctx, connection, "v")
	}
	return call(ctx, connection, "v")
}

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	connection, err := grpc.NewClient("unix://"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		// grpc-go pings no oftener than that.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 60 * time.Second, PermitWithoutStream: true}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	counts := map[string]map[string]int{"pings": {}}
	for _, kind := range kinds {
		counts[kind] = map[string]int{}
	}
	var mutex sync.Mutex
	var group sync.WaitGroup
	for worker := 0; worker < 16; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := worker; i < n; i += 16 {
				kind := kinds[i%len(kinds)]
				code := one(connection, kind)
				mutex.Lock()
				counts[kind][code]++
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	counts["pings"][call(context.Background(), connection, "sleep-"+os.Args[3]+"000")]++
	json.NewEncoder(os.Stdout).Encode(counts)
}
