module sallyport-load

go 1.22
