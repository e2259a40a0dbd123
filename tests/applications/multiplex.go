// Answers any number of requests at once on one connection: `n` names one, `wait` holds it up until a file
// is there, `large` (bytes) makes its answer long; a body comes back as it was.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"strconv"
	"time"
)

func answer(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(response, err.Error(), 400)
		return
	}
	query := request.URL.Query()
	large, _ := strconv.Atoi(query.Get("large"))
	response.Header().Set("Content-Type", "text/plain")
	for gate := query.Get("wait"); gate != ""; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(gate); err == nil {
			break
		}
	}
	fmt.Fprintf(response, "%s;", query.Get("n"))
	response.Write(bytes.Repeat([]byte("x"), large))
	response.Write(body)
}

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err == nil {
		err = fcgi.Serve(listener, http.HandlerFunc(answer))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
