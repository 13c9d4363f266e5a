package main

import (
	"io"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/config"
)

// newLogger makes the process's log. Only cmd makes one; the rooms get a
// logrus.FieldLogger.
func newLogger(c config.Log, w io.Writer) *logrus.Logger {
	l := logrus.New()
	l.SetOutput(w)
	if level, err := logrus.ParseLevel(c.Level); err == nil { // checked by config
		l.SetLevel(level)
	}
	if c.Format == "json" {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: "2006-01-02T15:04:05.000Z07:00"})
	} else {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "2006-01-02T15:04:05.000Z07:00"})
	}
	return l
}
