// Package labels keeps what policies have put on a task or an agent ("this task
// has read customers"), so that later requests, on any protocol and gateway, can
// be decided by it.
//
// There is one entry for each subject, actor and task, and one for each subject
// and actor; its labels only grow, and go a day after one of them was last said.
// Everything is asked of the key-value bucket when it is needed: only where a
// policy in force reads labels, or says one, does a request wait for it. What
// cannot be read or written is an error, and the gate denies.
//
// This package imports no other room of regate. The bucket holds digests of
// names, and the labels.
package labels
