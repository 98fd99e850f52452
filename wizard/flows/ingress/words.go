package ingress

import "strconv"

// amount counts things: 1 task, 3 tasks.
func amount(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// does gives a verb for so many things: 1 holds, 3 hold.
func does(n int, verb string) string {
	if n == 1 {
		verb += "s"
	}
	return verb
}
