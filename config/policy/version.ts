// The group and version of this gateway's own kinds, in a file without schemas: whoever compiles or decides needs none of
// them, and a thread of the data path would pay 10 MB for the library that they are made of.

export const sallyportVersion = 'sallyport.dev/v1alpha1';
