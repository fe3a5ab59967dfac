// Package topology declares everything that exists on the bus: streams, durable consumers, buckets,
// and the subjects between them. Nothing else in wxbus builds a subject or names a stream.
//
// The declaration is plain data, one file for each owner. A stream, bucket or durable is created once,
// by Ensure ("wxbus provision"); every process only checks it at start. The golden file in testdata
// shows each change in review, and EventReference prints it for docs/events.md.
package topology
