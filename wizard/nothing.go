package wizard

// NothingError says that there is nothing for a workflow to do.
type NothingError struct{ Text string }

func (e *NothingError) Error() string { return e.Text }
