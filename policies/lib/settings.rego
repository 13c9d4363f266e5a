# METADATA
# title: Settings of the ready packs
# description: |
#   A pack ships its defaults in data.regate.defaults.<pack>; a site overrides
#   single keys in data.regate.settings.<pack>. A setting that is missing or of
#   the wrong type is undefined, which every pack turns into a denial.
# scope: package
package regate.lib.settings

# METADATA
# description: The value of a setting, of any type.
value(pack, key) := of_site if {
	of_site := data.regate.settings[pack][key]
} else := data.regate.defaults[pack][key]

# METADATA
# description: A list of strings.
strings(pack, key) := list if {
	list := value(pack, key)
	is_array(list)
	every element in list {
		is_string(element)
	}
}

# METADATA
# description: A whole number that is not negative.
count_of(pack, key) := number if {
	number := value(pack, key)
	is_number(number)
	number >= 0
	floor(number) == number
}

# METADATA
# description: An object whose values are objects.
table(pack, key) := object_of if {
	object_of := value(pack, key)
	is_object(object_of)
	every element in object_of {
		is_object(element)
	}
}
