// Package spark is the source for Apache Spark, 3.5 and later, by Spark Connect.
//
// Spark Connect is gRPC with protobuf messages of which a client of SQL needs
// about ten; they are written and read here by field number, over the HTTP/2
// client of the standard library (docs/adr/0019-spark-connect-by-hand.md).
//
// A statement is sent as a command. Spark executes what changes something at
// once, and gives back what reads as a plan, which is executed next; its rows come
// as Arrow, batch by batch. Each notebook, and each run, has a session of its own in
// Spark: a temporary view of one cell is there in the next.
package spark
