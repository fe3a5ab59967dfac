package wechat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// DedupeKey returns the identity of the push: 32 lower-case hex digits that are the same for every
// retry of WeChat, and different for different pushes. It is computed from the account and the body
// only, as query parameters may differ between retries (protocol b), and does not depend on the order
// of elements or on blanks between them.
//
// A message is identified by its sender, type, MsgId and CreateTime: two fans can have the same MsgId.
// An event has no id, and one fan can cause two in a second, so all its fields take part; so they do
// for a message without MsgId.
func (p *Push) DedupeKey(account string) string {
	var stack [512]byte
	buf := append(stack[:0], "wxbus push 1\n"...)
	buf = appendField(buf, account)
	buf = appendField(buf, p.FromUserName)
	buf = binary.BigEndian.AppendUint64(buf, uint64(p.CreateTime))
	switch {
	case p.Kind() == KindMessage && p.MsgID != "":
		buf = append(buf, 'm')
		buf = appendField(buf, p.MsgType)
		buf = appendField(buf, p.MsgID)
	case p.MsgType == typeEvent:
		buf = append(buf, 'e')
		buf = appendField(buf, p.Event)
		buf = appendField(buf, p.EventKey)
		buf = appendField(buf, p.Ticket)
		buf = appendField(buf, p.MsgID)
		buf = p.doc.appendLeavesHash(buf)
	default:
		buf = append(buf, 'x')
		buf = appendField(buf, p.MsgType)
		buf = appendField(buf, p.InfoType)
		buf = appendField(buf, p.Event)
		buf = appendField(buf, p.MsgID)
		buf = p.doc.appendLeavesHash(buf)
	}
	sum := sha256.Sum256(buf)
	var digits [32]byte
	hex.Encode(digits[:], sum[:16])
	return string(digits[:])
}

// appendField appends s with its length, so that no two lists of fields look the same.
func appendField(buf []byte, s string) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
	return append(buf, s...)
}

// appendLeavesHash appends a hash over path and trimmed value of every leaf that is not one of the
// fields hashed by name. The hashes of the leaves are added up, so their order does not matter, and
// unlike with xor two equal leaves do not cancel. Empty leaves count as absent.
func (d *document) appendLeavesHash(buf []byte) []byte {
	var sum [4]uint64
	var pathStack, leafStack [256]byte
	path := pathStack[:0]
	var ends [hardMaxDepth]uint16 // where the open elements end
	var lens [hardMaxDepth]int    // and how long the path was before them
	depth := 0
	for i := 1; i < len(d.nodes); {
		for depth > 0 && i >= int(ends[depth-1]) {
			depth--
			path = path[:lens[depth]]
		}
		n := &d.nodes[i]
		name := d.str(n.name)
		if depth == 0 && isHashedByName(name) {
			i = int(n.next)
			continue
		}
		if isBranchKind(n.kind) {
			ends[depth], lens[depth] = n.next, len(path)
			depth++
			path = appendField(path, name)
		} else if value := strings.TrimSpace(d.str(n.value)); value != "" {
			leaf := append(leafStack[:0], path...)
			leaf = appendField(leaf, name)
			leaf = appendField(leaf, value)
			addHash(&sum, sha256.Sum256(leaf))
		}
		i++
	}
	for _, part := range sum {
		buf = binary.BigEndian.AppendUint64(buf, part)
	}
	return buf
}

// isHashedByName reports whether a child of the root takes no part in the leaves: DedupeKey hashes it
// itself, or it changes with the encryption of the same push.
func isHashedByName(name string) bool {
	switch fieldOf(name) {
	case fieldToUserName, fieldFromUserName, fieldCreateTime, fieldMsgType, fieldEvent, fieldEventKey,
		fieldTicket, fieldMsgID, fieldInfoType:
		return true
	default:
		return name == "Encrypt"
	}
}

func addHash(sum *[4]uint64, hash [sha256.Size]byte) {
	for i := range sum {
		sum[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
}
