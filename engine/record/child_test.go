package record

func child(role string) int { return 2 }
