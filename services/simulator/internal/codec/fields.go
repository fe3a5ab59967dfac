package codec

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Number is a number in its own notation: bare in XML and in JSON.
type Number string

// Field is one element of a push. Its Value is a string, an int64, a Number or nested Fields;
// a name that occurs more than once is a list.
type Field struct {
	Name  string
	Value any
}

// Fields are the elements of a push in order.
type Fields []Field

// Get returns the first string or number with that name as text, or "".
func (f Fields) Get(name string) string {
	for _, x := range f {
		if x.Name != name {
			continue
		}
		switch v := x.Value.(type) {
		case string:
			return v
		case int64:
			return strconv.FormatInt(v, 10)
		case Number:
			return string(v)
		}
	}
	return ""
}

// XML returns the fields as WeChat writes them: strings in CDATA, numbers bare, root "xml".
func (f Fields) XML() []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	f.writeXML(&b)
	b.WriteString("</xml>")
	return b.Bytes()
}

func (f Fields) writeXML(b *bytes.Buffer) {
	for _, x := range f {
		b.WriteString("<" + x.Name + ">")
		switch v := x.Value.(type) {
		case string:
			b.WriteString("<![CDATA[" + strings.ReplaceAll(v, "]]>", "]]]]><![CDATA[>") + "]]>")
		case int64:
			b.WriteString(strconv.FormatInt(v, 10))
		case Number:
			b.WriteString(string(v))
		case Fields:
			v.writeXML(b)
		}
		b.WriteString("</" + x.Name + ">")
	}
}

// JSON returns the fields as one object; repeated names become an array at the place of the first.
func (f Fields) JSON() []byte {
	var b bytes.Buffer
	f.writeJSON(&b)
	return b.Bytes()
}

func (f Fields) writeJSON(b *bytes.Buffer) {
	count := map[string]int{}
	for _, x := range f {
		count[x.Name]++
	}
	b.WriteByte('{')
	first := true
	for i, x := range f {
		if count[x.Name] == 0 {
			continue // written with the first of its name
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(jsonString(x.Name))
		b.WriteByte(':')
		if count[x.Name] == 1 {
			writeJSONValue(b, x.Value)
			continue
		}
		f[i:].writeJSONList(b, x.Name)
		count[x.Name] = 0
	}
	b.WriteByte('}')
}

func (f Fields) writeJSONList(b *bytes.Buffer, name string) {
	b.WriteByte('[')
	n := 0
	for _, x := range f {
		if x.Name != name {
			continue
		}
		if n++; n > 1 {
			b.WriteByte(',')
		}
		writeJSONValue(b, x.Value)
	}
	b.WriteByte(']')
}

func writeJSONValue(b *bytes.Buffer, value any) {
	switch v := value.(type) {
	case string:
		b.Write(jsonString(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case Number:
		b.WriteString(string(v))
	case Fields:
		v.writeJSON(b)
	default:
		b.WriteString("null")
	}
}

// jsonString leaves CJK and <>& alone, as WeChat does.
func jsonString(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return []byte(`""`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
