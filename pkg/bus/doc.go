// Package bus publishes to and consumes from NATS JetStream so that a service sees neither: messages
// with ids go in and acks with sequences come out; handlers return an error and the package decides
// about acknowledgement, retry and dead letter.
//
// Connect gives a Conn; Publish waits for the server's word; Batcher does the same for many callers at
// once; NewConsumer reads the durables of package topology, one fan in order and many fans in parallel.
package bus
