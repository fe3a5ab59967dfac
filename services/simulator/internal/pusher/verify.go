package pusher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Verify makes the URL verification of an account on every replica (a.1). It joins the errors of those that fail.
func (p *Pusher) Verify(ctx context.Context, account string) error {
	w := p.wires[account]
	if w == nil {
		return fmt.Errorf("no account %q", account)
	}
	var errs []error
	for i, target := range *p.targets.Load() {
		timestamp := strconv.FormatInt(p.deps.Clock.Now().Unix(), 10)
		number := p.deps.Dice.Uint64("echo", uint64(i), uint64(p.deps.Clock.Now().UnixNano()))
		echo, nonce := strconv.FormatUint(number, 10), strconv.FormatUint(number%1e9, 10)
		if err := p.verify(ctx, callbackURL(target, account)+"?"+w.VerifyQuery(timestamp, nonce, echo).Encode(), echo); err != nil {
			errs = append(errs, fmt.Errorf("verify %s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Pusher) verify(ctx context.Context, address, echo string) error {
	ctx, cancel := p.deps.Clock.WithTimeout(ctx, p.cfg.AttemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which has the signature
		}
		return fmt.Errorf("call: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	switch {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d instead of 200", resp.StatusCode)
	case string(body) != echo:
		return errors.New("the answer is not the echostr")
	}
	return nil
}
