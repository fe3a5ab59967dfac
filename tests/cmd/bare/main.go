// Command bare is the baseline of the gateway: a net/http handler that reads the body and answers success.
//
//	bare -listen 127.0.0.1:9000
//	bare -listen 127.0.0.1:9000 -publish nats://127.0.0.1:4222   also publishes the body to a stream of its own and waits
//	bare -listen 127.0.0.1:9000 -reply                           verifies, decrypts, and answers with a sealed text, as an SDK does
package main

import (
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// What the benchmarks push with.
const (
	token  = "benchtoken"
	aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	appid  = "wx000000005ca1e000"
)

// answer makes the answer to a push.
type answer func(r *http.Request, body []byte) (string, error)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address")
	publish := flag.String("publish", "", "`URL` of a NATS server to publish every push to, before the answer")
	reply := flag.Bool("reply", false, "answer with a text in the process")
	flag.Parse()
	if err := run(*listen, *publish, *reply); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(listen, publish string, reply bool) error {
	var say answer // none: the bare handler keeps nothing of the body
	var err error
	switch {
	case publish != "":
		say, err = publisher(publish)
	case reply:
		say, err = sdk()
	}
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /wx/{account}", func(w http.ResponseWriter, r *http.Request) {
		limited := io.LimitReader(r.Body, 1<<20)
		if say == nil {
			if _, err := io.Copy(io.Discard, limited); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			_, _ = io.WriteString(w, "success")
			return
		}
		body, err := io.ReadAll(limited)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		text, err := say(r, body)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, text)
	})
	srv := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 4 * time.Second, MaxHeaderBytes: 16 << 10}
	return srv.ListenAndServe()
}

// publisher stores every body before it says success, one publish for each push.
func publisher(url string) (answer, error) {
	conn, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench.push"}, MaxAge: time.Hour, MaxBytes: 256 << 20})
	if err != nil {
		return nil, err
	}
	return func(r *http.Request, body []byte) (string, error) {
		_, err := js.Publish(r.Context(), "bench.push", body)
		return "success", err
	}, nil
}

// sdk is what a library for WeChat gives: everything in the handler, nothing stored.
func sdk() (answer, error) {
	cipher, err := wechat.NewCipher(aesKey, appid, nil)
	if err != nil {
		return nil, err
	}
	var nonce sync.Mutex
	n := 0
	return func(r *http.Request, body []byte) (string, error) {
		var sealed struct{ Encrypt string }
		if err := xml.Unmarshal(body, &sealed); err != nil {
			return "", err
		}
		q := r.URL.Query()
		if wechat.Sign(token, q.Get("timestamp"), q.Get("nonce"), sealed.Encrypt) != q.Get("msg_signature") {
			return "", errors.New("signature")
		}
		plain, err := cipher.Decrypt(sealed.Encrypt)
		if err != nil {
			return "", err
		}
		var push struct{ ToUserName, FromUserName string }
		if err := xml.Unmarshal(plain, &push); err != nil {
			return "", err
		}
		now := strconv.FormatInt(time.Now().Unix(), 10)
		text, err := cipher.Encrypt(fmt.Appendf(nil, "<xml><ToUserName>%s</ToUserName><FromUserName>%s</FromUserName><CreateTime>%s</CreateTime>"+
			"<MsgType>text</MsgType><Content>您好</Content></xml>", push.FromUserName, push.ToUserName, now))
		if err != nil {
			return "", err
		}
		nonce.Lock()
		n++
		mine := strconv.Itoa(n)
		nonce.Unlock()
		return fmt.Sprintf("<xml><Encrypt>%s</Encrypt><MsgSignature>%s</MsgSignature><TimeStamp>%s</TimeStamp><Nonce>%s</Nonce></xml>",
			text, wechat.Sign(token, now, mine, text), now, mine), nil
	}, nil
}
