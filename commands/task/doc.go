// Package task shows tasks of services, for the commands that list them by
// service and by node. It resolves the IDs a task carries to names and knows
// the columns; which tasks are shown is the caller's choice.
package task
