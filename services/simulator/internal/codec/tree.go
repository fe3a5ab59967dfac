package codec

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth = 8
	maxNodes = 512
)

// node is one element of an answer, the same for XML and JSON.
type node struct {
	name string
	text string
	kids []node
}

func (n node) child(name string) (node, bool) {
	for _, k := range n.kids {
		if k.name == name {
			return k, true
		}
	}
	return node{}, false
}

func (n node) value(name string) string {
	k, _ := n.child(name)
	return k.text
}

func (n node) all(name string) []node {
	var out []node
	for _, k := range n.kids {
		if k.name == name {
			out = append(out, k)
		}
	}
	return out
}

// parseXML reads one <xml> element with nothing around it but white space.
func parseXML(body []byte) (node, error) {
	if !utf8.Valid(body) {
		return node{}, errors.New("is not UTF-8")
	}
	p := xmlReader{dec: xml.NewDecoder(bytes.NewReader(body))}
	root, found := node{}, false
	for {
		tok, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return node{}, fmt.Errorf("is not XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if found {
				return node{}, errors.New("has a second root element")
			}
			if root, err = p.element(t, 1); err != nil {
				return node{}, err
			}
			found = true
		case xml.Directive:
			return node{}, errors.New("has a DOCTYPE")
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return node{}, errors.New("has text outside the root element")
			}
		}
	}
	if !found || root.name != "xml" {
		return node{}, errors.New("has no root element <xml>")
	}
	return root, nil
}

type xmlReader struct {
	dec   *xml.Decoder
	nodes int
}

func (p *xmlReader) element(start xml.StartElement, depth int) (node, error) {
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		return node{}, errors.New("is nested or repeated too much")
	}
	n := node{name: start.Name.Local}
	var text strings.Builder
	for {
		tok, err := p.dec.Token()
		if err != nil {
			return node{}, fmt.Errorf("is not XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			kid, err := p.element(t, depth+1)
			if err != nil {
				return node{}, err
			}
			n.kids = append(n.kids, kid)
		case xml.CharData:
			text.Write(t)
		case xml.Directive:
			return node{}, errors.New("has a directive")
		case xml.EndElement:
			if len(n.kids) == 0 {
				n.text = text.String()
			}
			return n, nil
		}
	}
}

// parseJSON reads one object with nothing behind it.
func parseJSON(body []byte) (node, error) {
	if !utf8.Valid(body) {
		return node{}, errors.New("is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return node{}, fmt.Errorf("is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, errors.New("has something after the JSON object")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return node{}, errors.New("is not a JSON object")
	}
	count := 0
	kids, err := jsonKids(object, 1, &count)
	return node{name: "xml", kids: kids}, err
}

func jsonKids(object map[string]any, depth int, count *int) ([]node, error) {
	var out []node
	for name, v := range object {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			if *count++; *count > maxNodes || depth > maxDepth {
				return nil, errors.New("is nested or repeated too much")
			}
			n := node{name: name}
			switch x := item.(type) {
			case string:
				n.text = x
			case json.Number:
				n.text = x.String()
			case map[string]any:
				kids, err := jsonKids(x, depth+1, count)
				if err != nil {
					return nil, err
				}
				n.kids = kids
			}
			out = append(out, n)
		}
	}
	return out, nil
}
