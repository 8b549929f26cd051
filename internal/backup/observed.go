package backup

import (
	"encoding/json"
	"errors"
	"time"
)

// Observed is a value with the time it was read and the error of the latest
// attempt: a value never travels without its age. A failed attempt keeps the
// former Value and At and sets Err.
type Observed[T any] struct {
	Value T
	At    time.Time // when Value was read; zero when it never was
	Err   error     // of the latest attempt; nil when it succeeded
	Tried time.Time // when the latest attempt ended
}

// Known says whether a value was ever read.
func (o Observed[T]) Known() bool { return !o.At.IsZero() }

// Current says whether the latest attempt gave the value.
func (o Observed[T]) Current() bool { return o.Known() && o.Err == nil }

// Next is o after one more attempt that ended at now: with value when err is
// nil, else with the former value and err.
func (o Observed[T]) Next(value T, err error, now time.Time) Observed[T] {
	if err != nil {
		o.Err, o.Tried = err, now
		return o
	}
	return Observed[T]{Value: value, At: now, Tried: now}
}

type observedJSON[T any] struct {
	Value T         `json:"value"`
	At    time.Time `json:"at"`
	Err   string    `json:"error,omitempty"`
	Tried time.Time `json:"tried"`
}

// MarshalJSON writes the error as its text.
func (o Observed[T]) MarshalJSON() ([]byte, error) {
	out := observedJSON[T]{Value: o.Value, At: o.At, Tried: o.Tried}
	if o.Err != nil {
		out.Err = o.Err.Error()
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes; the error keeps its text only.
func (o *Observed[T]) UnmarshalJSON(text []byte) error {
	var in observedJSON[T]
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*o = Observed[T]{Value: in.Value, At: in.At, Tried: in.Tried}
	if in.Err != "" {
		o.Err = errors.New(in.Err)
	}
	return nil
}
