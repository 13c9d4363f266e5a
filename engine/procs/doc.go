// Package procs keeps the number of processors that Go's scheduler uses as low
// as the load allows.
//
// A gateway waits more than it works: for agents, for targets. Each time that
// something comes, and a processor is idle, the scheduler wakes a thread to look
// for more work, which mostly finds none and goes to sleep again. On a machine
// with few processors that is a fifth of what a short statement costs, taken
// from the database or whatever else runs there. So the gateway starts with half
// of its processors, takes the others while it needs them, and gives them back.
package procs
