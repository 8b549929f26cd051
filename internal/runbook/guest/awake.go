package guest

import "time"

// awake is how long a guest may take from its start until its agent or its port
// answers.
const awake = 3 * time.Minute
